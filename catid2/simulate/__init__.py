"""Raw files with the shape, the shares and the dirt of ESCI and ESCI-S, made offline from word lists."""

from catid2.simulate.files import simulate

__all__ = ["simulate"]
