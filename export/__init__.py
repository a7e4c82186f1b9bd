"""The export stage: a training run becomes a bundle, verified before it is written. Desk only."""
