"""What commands show of sweeps, gathered: the live view, reports, comparisons, exports."""
