# Minimize x^2 from x = 1 by gradient descent, and print the loss of each step as a line of JSON.
lr, steps = parse(Float64, ARGS[1]), parse(Int, ARGS[2])
function descend(lr, steps)
    x = 1.0
    for step in 1:steps
        x -= lr * 2 * x
        println("slurmsweep: {\"loss\": $(x * x), \"step\": $step}")
        flush(stdout)
    end
end
descend(lr, steps)
