// Minimize x^2 from x = 1 by gradient descent; add a line of JSON a step to $SLURMSWEEP_METRICS_FILE.
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>

int main(int argc, char** argv) {
    double lr = 0.1, x = 1;
    int steps = 10;
    for (int i = 1; i < argc; ++i) {
        if (std::strncmp(argv[i], "--lr=", 5) == 0) lr = std::atof(argv[i] + 5);
        if (std::strncmp(argv[i], "--steps=", 8) == 0) steps = std::atoi(argv[i] + 8);
    }
    const char* name = std::getenv("SLURMSWEEP_METRICS_FILE");
    std::ofstream file(name ? name : "/dev/stdout", std::ios::app);  // outside of a sweep: the terminal
    for (int step = 1; step <= steps; ++step) {
        x -= lr * 2 * x;
        file << "{\"loss\": " << x * x << ", \"step\": " << step << "}" << std::endl;  // endl: the line is there now
    }
    return file ? 0 : 1;
}
