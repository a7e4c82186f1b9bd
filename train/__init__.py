"""The desk or Colab: photos of signs in, a run folder with a trained VGG-16 out."""
