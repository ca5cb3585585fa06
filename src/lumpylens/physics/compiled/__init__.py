"""The physics of `lumpylens.physics` again, in loops over pixels compiled for the processor."""
