"""Training of any network, with ``pip install 'sarhub-models[train]'``: recipe, data, loop, exact resume.

>>> from sarhub_models import engine
>>> recipe = engine.from_dict({"model": {"network": "resnet18"}, "data": {"name": "folder", "root": "chips"}})
>>> recipe.optim.batch_size
128

``engine.train(recipe, out)`` then trains, or goes on where it was stopped, and ``engine.load_run(out)`` gives the
trained network. The names are those of the stub beside this file, resolved on first use (PEP 562).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
