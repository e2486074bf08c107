"""Learn from results: which point comes next, which trial goes on, which parameter mattered. State meets search."""
