package main

import (
	_ "embed"
	"encoding/json"
	"strings"

	sprig "github.com/Masterminds/sprig/v3"
	"github.com/evilmonkeyinc/jsonpath"
	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/builtin"
)

//go:embed env.json
var envJSON []byte

// environment decodes env.json and adds the functions that Argo adds. Each evaluation gets its own: some sprig functions change
// their arguments.
func environment() map[string]any {
	env := map[string]any{}
	if err := json.Unmarshal(envJSON, &env); err != nil {
		panic(err)
	}
	functions := sprig.GenericFuncMap()
	delete(functions, "env")
	delete(functions, "expandenv")
	env["sprig"] = functions
	env["asInt"] = builtin.Int
	env["asFloat"] = builtin.Float
	env["toJson"] = func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return string(text)
	}
	env["jsonpath"] = func(text, path string) any {
		var document any
		if err := json.Unmarshal([]byte(text), &document); err != nil {
			panic(err)
		}
		value, err := jsonpath.Query(path, document)
		if err != nil {
			panic(err)
		}
		return value
	}
	return env
}

func evaluate(text string) (outcome, message string) {
	env := environment()
	program, err := expr.Compile(text, expr.Env(env))
	if err != nil {
		// A panic of the compiler brings its stack along.
		message, _, _ = strings.Cut(err.Error(), "\ngoroutine ")
		return "COMPILE_ERR", message
	}
	value, err := expr.Run(program, env)
	if err != nil {
		return "RUN_ERR", err.Error()
	}
	out, err := json.Marshal(value)
	if err != nil {
		return "JSON_ERR", err.Error()
	}
	return string(out), ""
}

func record(texts ...string) {
	for _, text := range texts {
		outcome, message := evaluate(text)
		row(text, outcome, message)
	}
}
