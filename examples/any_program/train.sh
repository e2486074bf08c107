#!/usr/bin/env bash
# Minimize x^2 from x = 1 by gradient descent, and print the loss of each step as a line of JSON.
set -euo pipefail
lr=$1 steps=$2
export LC_ALL=C  # a decimal point, whatever the language

awk -v lr="$lr" -v steps="$steps" 'BEGIN {
    x = 1
    for (step = 1; step <= steps; step++) {
        x -= lr * 2 * x
        printf "slurmsweep: {\"loss\": %.6g, \"step\": %d}\n", x * x, step
        fflush()
    }
}'
