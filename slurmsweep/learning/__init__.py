"""Learn from results: which point comes next, which trial goes on, which parameter mattered. State meets search."""

#: How the libraries behind numpy are told how many threads to start, when they are loaded. On small matrices more than
#: one costs time.
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
