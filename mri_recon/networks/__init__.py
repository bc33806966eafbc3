"""Neural networks as plain `nn.Module` classes; nothing here knows about files."""
