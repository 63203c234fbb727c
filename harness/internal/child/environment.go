package child

import (
	"os"
	"runtime"
	"slices"
	"strings"
)

// passed lists the variables that every child gets: where programs, libraries and temporary files
// lie, the language of messages, and the settings of languages, devices and threads. A name that
// ends in * stands for all names that begin so. Everything else, such as the tokens of a CI, stays
// here unless [Command.Env] names it.
var passed = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "LANG", "LANGUAGE", "LC_*", "TMPDIR", "TMP", "TEMP",
	"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR",
	"LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_*", "NIX_*", "DIFFTEST_*",
	"PYTHON*", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "GOPATH", "GOROOT", "GOCACHE", "GOMODCACHE",
	"GOFLAGS", "GOPROXY", "GOTOOLCHAIN", "GOMAXPROCS", "GOMEMLIMIT", "GOGC", "GODEBUG", "GORACE",
	"GOTRACEBACK", "GOCOVERDIR",
	"CARGO_HOME", "RUSTUP_HOME", "RUST_*", "JAVA_HOME", "JULIA_*", "NODE_PATH", "NODE_OPTIONS",
	"CUDA_*", "NVIDIA_*", "HIP_*", "ROCR_*", "OMP_*", "MKL_*", "OPENBLAS_*", "KMP_*", "TORCH*", "PYTORCH_*", "XLA_*",
	"JAX_*", "TF_*", "HF_HOME", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE",
}

// passedOnWindows lists what programs need there to start.
var passedOnWindows = []string{
	"SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "USERNAME", "HOMEDRIVE", "HOMEPATH",
	"APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "PROGRAMFILES*", "COMMONPROGRAMFILES*", "NUMBER_OF_PROCESSORS",
	"PROCESSOR_*", "OS",
}

// secrets are parts of names that no default passes.
var secrets = []string{"TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "PRIVATE_KEY"}

// environment returns the variables of this process that a child gets. names are passed beside the
// default ones.
func environment(names []string) []string {
	fold := func(name string) string { return name }
	defaults := passed
	if runtime.GOOS == "windows" {
		fold, defaults = strings.ToUpper, slices.Concat(passed, passedOnWindows)
	}
	env := []string{}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		named := func(other string) bool { return fold(other) == fold(name) }
		if slices.ContainsFunc(names, named) || isPassed(fold(name), defaults) {
			env = append(env, variable)
		}
	}
	return env
}

// isPassed reports whether a default passes a variable.
func isPassed(name string, defaults []string) bool {
	upper := strings.ToUpper(name)
	if slices.ContainsFunc(secrets, func(word string) bool { return strings.Contains(upper, word) }) {
		return false
	}
	return slices.ContainsFunc(defaults, func(pattern string) bool {
		prefix, isPrefix := strings.CutSuffix(pattern, "*")
		return name == pattern || isPrefix && strings.HasPrefix(name, prefix)
	})
}
