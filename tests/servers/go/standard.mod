// For nethttp, which needs no other module: every Go understands this file.
module reqscope.test/servers

go 1.18
