"""What makes models fast on their device: attention kernels, compiled blocks, 8-bit layers, rehearsed row counts."""
