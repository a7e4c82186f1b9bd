"""The desk or Colab: GTSRB photos in, a run folder with a trained VGG-16 out."""
