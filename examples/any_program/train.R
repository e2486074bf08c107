# Minimize x^2 from x = 1 by gradient descent, and print the loss of each step as a line of JSON.
args <- as.numeric(commandArgs(trailingOnly = TRUE))
lr <- args[1]
x <- 1
for (step in seq_len(args[2])) {
  x <- x - lr * 2 * x
  cat(sprintf('slurmsweep: {"loss": %.6g, "step": %d}\n', x * x, step))
}
