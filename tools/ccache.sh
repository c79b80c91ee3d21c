#!/bin/sh
# The compiler's launcher: ccache, with paths relative to this checkout, so that clones share results.
root=$(dirname "$(dirname "$(readlink -f "$0")")")
CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=time_macros exec ccache "$@"
