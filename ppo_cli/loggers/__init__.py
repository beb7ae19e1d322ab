"""Where a run's metrics go: files, TensorBoard, the terminal and a picture. Each is imported only when it is used."""
