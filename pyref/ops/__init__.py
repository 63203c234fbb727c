"""The operations of the suite, computed by PyTorch's own functions wherever PyTorch has one."""
