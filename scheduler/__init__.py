"""What time makes happen: ticks that start sweeps."""
