"""Where streams come from: each module knows one protocol, gathers messages into batches, and tells its source of those alone that are durable.

What of the catalogue names a stream is gathered by `running`; what a message says, `messages` tells; what becomes of a batch is the receiver's affair.
"""
