package main

import (
	_ "github.com/Knetic/govaluate"
	_ "github.com/Masterminds/sprig/v3"
	_ "github.com/evilmonkeyinc/jsonpath"
	_ "github.com/expr-lang/expr"
)

func main() {}
