"""Talking to a running daemon over `<data_dir>/control.sock`: HTTP on a Unix socket."""
