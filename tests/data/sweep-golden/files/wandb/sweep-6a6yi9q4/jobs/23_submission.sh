#!/bin/bash

# Parameters
#SBATCH --array=0-1
#SBATCH --begin=now+1hour
#SBATCH --chdir=@FOLDER@
#SBATCH --cpus-per-task=1
#SBATCH --job-name=slurmsweep-6a6yi9q4-3cfe70e8
#SBATCH --mem=200M
#SBATCH --nodes=1
#SBATCH --open-mode=append
#SBATCH --output=@FOLDER@/wandb/sweep-6a6yi9q4/jobs/%A_%a.out
#SBATCH --requeue
#SBATCH --signal=B:USR1@60
#SBATCH --time=5

# command
export SUBMITIT_EXECUTOR=slurm
set -- @FOLDER@/wandb/sweep-6a6yi9q4
export SLURMSWEEP_PYTHON=@PYTHON@
export SLURMSWEEP_WARNING_SECONDS=60
export SLURMSWEEP_SLOTS=5-6:2

#
# One trial a job: the plain template. slurmsweep fills in the rest; by hand it works as it is:
#
#     slurmsweep submit SWEEP --template array
#     sbatch --array=0-23%8 job_templates/array.sbatch SWEEP
#
# where SWEEP is the id of a sweep (below WANDB_DIR or this folder) or the path of its folder.
# Copy it, change it, and use it with: slurmsweep submit SWEEP --template ./mine.sbatch

# What one trial needs. The command line and the sweep file's `slurm:` section win over these lines.

# A minute before the time is up, tell the agent (B: and nobody else), so that it can end its trial in order.

# If the node dies or the job is preempted, Slurm may start it again: the agent goes on with the same trial.

# Whatever your training needs comes here, for example:
#   module load cuda
#   source ~/miniconda3/etc/profile.d/conda.sh && conda activate myenv
#   source ~/venv/bin/activate

if [ -z "${1:-}" ]; then
    echo "usage: sbatch --array=0-N $0 SWEEP" >&2
    exit 2
fi

# exec: the agent takes the shell's place, so that Slurm's warning reaches it, and its exit code is the job's.
exec "${SLURMSWEEP_PYTHON:-python3}" -m slurmsweep agent --count 1 "$1"
