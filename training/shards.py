"""Streaming from WebDataset shards."""


class Shards:
    def __init__(self, data, split):
        raise NotImplementedError
