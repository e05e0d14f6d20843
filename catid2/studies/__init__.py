"""What studies measure beside recall: geometry, times, latency."""
