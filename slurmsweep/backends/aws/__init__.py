"""Services of AWS that run jobs: Batch, ECS, SageMaker, and machines of EC2 that hear of work by a queue of SQS."""
