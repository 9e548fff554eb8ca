"""K sparse updates of one frozen layer, with as many weights of each output."""

from adapterlab.adapters.methods.gps import GPSLinear
from adapterlab.packing.layers import COUNTERPARTS
from adapterlab.packing.methods.shira import LaneSHiRALinear

COUNTERPARTS[GPSLinear] = LaneSHiRALinear
