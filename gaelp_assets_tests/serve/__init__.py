"""The HTTP interface: in process, but for one server that is a process of its own."""
