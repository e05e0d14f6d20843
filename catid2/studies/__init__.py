"""What studies measure besides recall: geometry, times, latency, where beams lose documents."""
