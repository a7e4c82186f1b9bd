"""Measures a bundle through the edge runtime: accuracy, latency, memory. Changes nothing on the machine."""
