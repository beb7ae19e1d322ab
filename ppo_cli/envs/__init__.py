"""All that knows of Gymnasium: building environments, reading their spaces, stepping them side by side."""
