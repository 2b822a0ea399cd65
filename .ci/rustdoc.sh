# Sourced: lets rustdoc alone use unstable features, on a stable toolchain too. Build scripts of dependencies look at
# RUSTC_BOOTSTRAP, so setting it for cargo would build them all once more.
mkdir -p target
printf '#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc "$@"\n' >target/rustdoc
chmod +x target/rustdoc
export RUSTDOC="$PWD/target/rustdoc"
