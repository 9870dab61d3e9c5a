//go:build ignore

// Started by .ci/mutants, which says what this does.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// A mutant is one entry of the list. In file, each old text becomes the new one.
// test is the only test to run; "" stands for all but sourceTests.
type mutant struct {
	name, file, test string
	old, new         []string
}

// sourceTests look at the source text or at allocations, not at what is done.
const sourceTests = "^(TestNoPlainComparison|TestConventions|TestImports|TestSecurityTable|TestAllocations)$"

var failed = regexp.MustCompile(`(?m)^--- FAIL: (\w+)`)

func fatal(text ...any) {
	fmt.Fprintln(os.Stderr, text...)
	os.Exit(1)
}

// read reads the list, the head of which says what its lines are.
func read(list string) (mutants []mutant) {
	for _, block := range strings.Split(strings.Trim(list, "\n"), "\n\n") {
		if strings.HasPrefix(block, "//") {
			continue
		}
		m, last := mutant{}, ""
		for _, line := range strings.Split(block, "\n") {
			kind, text, _ := strings.Cut(line, " ")
			switch {
			case kind == "#":
				m.name += text
			case kind == "file:":
				m.file += text
			case kind == "test:":
				m.test += text
			case kind == "-" && last != "-":
				m.old, m.new = append(m.old, text), append(m.new, "")
			case kind == "-":
				m.old[len(m.old)-1] += "\n" + text
			case kind == "+" && last == "-":
				m.new[len(m.new)-1] = text
			case kind == "+" && last == "+":
				m.new[len(m.new)-1] += "\n" + text
			default:
				fatal("the list has a line that cannot stand there:", line)
			}
			last = kind
		}
		if m.name == "" || m.file == "" || m.old == nil {
			fatal("the list has an entry without name, file or change:", block)
		}
		if len(os.Args) == 1 || strings.Contains(m.file+": "+m.name, os.Args[1]) {
			mutants = append(mutants, m)
		}
	}
	return mutants
}

// run makes a copy with the mutant in it and runs the tests there. It returns
// "survived", "killed" and by what, or "error" and why there was nothing to run.
func run(m mutant) string {
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return "error: " + err.Error()
	}
	defer os.RemoveAll(dir)
	if out, err := exec.Command("sh", "-c", `cp -r *.go *.md go.mod testdata "$0"`, dir).CombinedOutput(); err != nil {
		return "error: cp: " + string(out)
	}
	for i, old := range m.old {
		path := filepath.Join(dir, m.file)
		source, _ := os.ReadFile(path)
		if n := strings.Count(string(source), old); n != 1 || old == m.new[i] {
			return fmt.Sprintf("error: found %d times in %s, or does not change it: %s", n, m.file, old)
		}
		os.WriteFile(path, []byte(strings.Replace(string(source), old, m.new[i], 1)), 0o644)
	}
	build := exec.Command("go", "test", "-vet=off", "-gcflags=-N -l", "-ldflags=-s -w", "-c", "-o", "mutant.test", ".") // fastest so
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return "error: does not compile: " + string(out)
	}
	tests := exec.Command("./mutant.test", "-test.short", "-test.failfast", "-test.timeout=60s", "-test.skip="+sourceTests)
	if m.test != "" {
		tests.Args[len(tests.Args)-1] = "-test.run=^" + m.test + "$"
	}
	tests.Dir, tests.Env = dir, append(os.Environ(), "CAPABILITY_MUTATION=1")
	out, err := tests.CombinedOutput()
	if err == nil {
		return "survived"
	}
	if match := failed.FindSubmatch(out); match != nil {
		out = match[1]
	}
	return "killed: " + string(out)
}

func main() {
	list, _ := os.ReadFile("testdata/mutants.txt")
	mutants, killed := read(string(list)), 0
	if result := run(mutant{}); result != "survived" || len(mutants) == 0 {
		fatal("no mutants, or the tests fail without one:", result)
	}
	todo, results := make(chan mutant), make(chan string)
	for i := 0; i < runtime.NumCPU(); i++ {
		go func() {
			for m := range todo {
				results <- m.name + ": " + run(m)
			}
		}()
	}
	go func() {
		for _, m := range mutants {
			todo <- m
		}
	}()
	for range mutants {
		result := <-results
		dead := strings.Contains(result, ": killed: ")
		if dead {
			killed++
		}
		if !dead || len(os.Args) > 1 {
			fmt.Println(result)
		}
	}
	fmt.Printf("%d mutants, %d killed\n", len(mutants), killed)
	if killed != len(mutants) {
		os.Exit(1)
	}
}
