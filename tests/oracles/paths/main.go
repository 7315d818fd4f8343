// Records what the Go libraries behind resource templates give for one object, as tables that the tests of the executor
// compare with.
//
//	go run . selectors > selectors.tsv    successCondition and failureCondition: label selectors whose keys are gjson paths
//	go run . jsonpaths > jsonpaths.tsv    kubectl's -o jsonpath=
//	go run . filters   > filters.tsv      jqFilter
//
// A row is: the text as a JSON string, the outcome, and the message of a failure as a JSON string.
package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/itchyny/gojq"
	"github.com/tidwall/gjson"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/util/jsonpath"
)

//go:embed object.json
var object []byte

var tables = map[string]func(text string) (outcome, message string){
	"selectors": selector,
	"jsonpaths": path,
	"filters":   filter,
}

// The texts of a table are the lines of <table>.txt; what follows `json:` is a JSON string.
func main() {
	if len(os.Args) != 2 || tables[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: go run . selectors|jsonpaths|filters")
		os.Exit(64)
	}
	texts, err := os.Open(os.Args[1] + ".txt")
	if err != nil {
		panic(err)
	}
	lines := bufio.NewScanner(texts)
	for lines.Scan() {
		text := lines.Text()
		if encoded, is := strings.CutPrefix(text, "json:"); is {
			if err := json.Unmarshal([]byte(encoded), &text); err != nil {
				panic(text)
			}
		}
		outcome, message := tables[os.Args[1]](text)
		fmt.Printf("%s\t%s\t%s\n", quoted(text), outcome, quoted(message))
	}
}

func quoted(value any) string {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// found gives a label selector the object's fields for labels.
type found struct{}

func (found) Has(label string) bool   { return gjson.GetBytes(object, label).Exists() }
func (found) Get(label string) string { return gjson.GetBytes(object, label).String() }
func (found) Lookup(label string) (string, bool) {
	result := gjson.GetBytes(object, label)
	return result.String(), result.Exists()
}

// selector tells each requirement's text and whether the object meets it, in the order in which they are looked at.
func selector(text string) (outcome, message string) {
	selector, err := labels.Parse(text)
	if err != nil {
		return "PARSE_ERR", err.Error()
	}
	verdicts := []any{}
	requirements, _ := selector.Requirements()
	for _, requirement := range requirements {
		verdicts = append(verdicts, []any{requirement.String(), requirement.Matches(found{})})
	}
	return quoted(verdicts), ""
}

func path(text string) (outcome, message string) {
	defer func() {
		if r := recover(); r != nil {
			outcome, message = "PANIC", fmt.Sprint(r)
		}
	}()
	parsed := jsonpath.New("out").AllowMissingKeys(true)
	if err := parsed.Parse(text); err != nil {
		return "PARSE_ERR", err.Error()
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, content()); err != nil {
		return "RUN_ERR", err.Error()
	}
	return quoted(out.String()), ""
}

// content is the object as kubectl holds it: whole numbers are integers.
func content() map[string]any {
	var decoded unstructured.Unstructured
	if err := decoded.UnmarshalJSON(object); err != nil {
		panic(err)
	}
	return decoded.UnstructuredContent()
}

// filter does as Argo's executor does with what a filter gives.
func filter(text string) (outcome, message string) {
	var input any
	if err := json.Unmarshal(object, &input); err != nil {
		panic(err)
	}
	query, err := gojq.Parse(text)
	if err != nil {
		return "PARSE_ERR", err.Error()
	}
	var out strings.Builder
	results := query.Run(input)
	for {
		value, more := results.Next()
		if !more {
			break
		}
		if err, failed := value.(error); failed {
			return "RUN_ERR", err.Error()
		}
		if text, ok := value.(string); ok {
			out.WriteString(text)
		} else {
			bytes, err := json.Marshal(value)
			if err != nil {
				return "RUN_ERR", err.Error()
			}
			out.Write(bytes)
		}
		out.WriteString("\n")
	}
	return quoted(strings.TrimSpace(out.String())), ""
}
