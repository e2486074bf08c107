"""Read what training scripts logged, while they run and after they ended: below agents, and below who observes them."""
