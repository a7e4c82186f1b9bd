"""Builds TensorRT engines; the part of export that runs on the board."""
