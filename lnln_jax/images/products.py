"""Matrix products in NumPy, of images and of colours."""

import numpy as np


def quiet_products() -> np.errstate:
    """Returns a context, or decorator, in which products do not warn of an invalid value.

    OpenBLAS with AVX-512 may raise that flag for what lies in memory beside a vector, while the
    product itself is right (seen with NumPy 2.4.6).
    """
    return np.errstate(invalid="ignore")
