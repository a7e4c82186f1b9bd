"""From a Keras model to ONNX graphs, in each precision."""
