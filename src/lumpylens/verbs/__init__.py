"""The public functions, one module each; `lumpylens` re-exports them."""
