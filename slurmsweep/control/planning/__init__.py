"""What a sweep would cost, before it is started: a plan, a forecast, and one trial ahead of the others."""
