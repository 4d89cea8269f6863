package crash

// DirVariable names the directory in which a file of a point's name arms it.
const DirVariable = "CRASHPOINTS_DIR"
