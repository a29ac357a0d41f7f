"""Places on the ground, and what is said where nothing leads there."""

from __future__ import annotations

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.transform import from_origin

from sarhub_models.errors import ImageError
from sarhub_models.io.places import to_longitude_latitude
from sarhub_models.io.raster import Raster


@pytest.mark.parametrize("system", ["+proj=longlat +a=1737400 +b=1737400", "EPSG:32633"])
def test_coordinates_that_nothing_leads_from_are_said(system: str) -> None:
    nothing = np.empty((0, 0, 0), np.uint8)
    image = Raster(nothing, crs=CRS.from_user_input(system), transform=from_origin(1e9, 1e9, 10, 10))
    for _ in range(30):  # GDAL stops saying so
        with pytest.raises(ImageError, match="its coordinates cannot be converted"):
            to_longitude_latitude(image, np.array([[1, 2]]))
