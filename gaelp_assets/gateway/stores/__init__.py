"""The stores that a gateway can lie in: one module for each, behind the protocol of `gateway.store`."""
