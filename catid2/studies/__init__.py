"""What studies measure besides recall: geometry, times, latency."""
