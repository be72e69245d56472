"""What a Hub does with Spaces, which this one keeps among the models."""

from .reading import model_info
from .routing import ID, REVISION, route
from .writing import commit, preupload

route("GET", rf"/api/spaces/{ID}/revision/{REVISION}")(model_info)
route("POST", rf"/api/spaces/{ID}/preupload/{REVISION}")(preupload)
route("POST", rf"/api/spaces/{ID}/commit/{REVISION}")(commit)
