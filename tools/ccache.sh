# Sourced by the build and test scripts, from the repository's top: clones in different folders share one cache.
export CCACHE_BASEDIR="${CCACHE_BASEDIR:-$PWD}" CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE="${CCACHE_MAXSIZE:-8G}" CCACHE_SLOPPINESS=time_macros
