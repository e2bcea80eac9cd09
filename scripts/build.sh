# Shared by ./run and ./test: installs missing Debian packages and builds a preset. Sourced, not run.
# Everything it says goes to stderr: stdout belongs to the program.

hearth_packages="g++ cmake ninja-build ccache libcli11-dev libfmt-dev nlohmann-json3-dev libpcre2-dev libsodium-dev libutf8proc-dev libhwloc-dev libudev-dev libcurl4-openssl-dev libssl-dev libsqlite3-dev"
hearth_test_packages="libgtest-dev"

# Of ./test: a browser for the web page, with letters to draw.
hearth_page_test_packages="chromium fonts-liberation"

hearth_say() { printf 'hearth: %s\n' "$*" >&2; }

# Installs those of the named packages that are missing; makes no apt call when nothing is missing.
hearth_install() {
  local missing=() package
  for package in "$@"; do
    if ! dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed; then
      missing+=("$package")
    fi
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      hearth_say "these packages are needed to build: ${missing[*]}; install them as root with: apt-get install ${missing[*]}"
      return 1
    fi
    sudo=(sudo)
  fi
  hearth_say "installing what the build needs (compiler, build tools, libraries): ${missing[*]}"
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# ON when HEARTH_NO_WEB asks for a program without the web page.
hearth_no_web() {
  case "${HEARTH_NO_WEB:-0}" in
    0 | no | off | false) echo OFF ;;
    *) echo ON ;;
  esac
}

# The page is built with any node >= 18 and its npm, else with Debian's; without the page, with neither.
hearth_install_node() {
  [ "$(hearth_no_web)" = ON ] && return 0
  local version
  if command -v npm >/dev/null && version=$(node --version 2>/dev/null) && version=${version#v} &&
    [ "${version%%.*}" -ge 18 ]; then
    return 0
  fi
  if ! hearth_install nodejs npm; then
    hearth_say "the web page needs node 18 or newer and npm; HEARTH_NO_WEB=1 leaves it out"
    return 1
  fi
}

# A browser for the tests of the page, unless HEARTH_CHROMIUM names one.
hearth_install_page_tests() {
  [ "$(hearth_no_web)" = ON ] || [ -n "${HEARTH_CHROMIUM:-}" ] && return 0
  # shellcheck disable=SC2086
  hearth_install $hearth_page_test_packages
}

# True when the directory is configured, with or without the page as HEARTH_NO_WEB says.
hearth_is_configured() {
  [ -f "$1/build.ninja" ] && grep -qx "HEARTH_NO_WEB:BOOL=$(hearth_no_web)" "$1/CMakeCache.txt"
}

# True when the directory was configured before GoogleTest was there.
hearth_lacks_tests() {
  [ -f "$1/CMakeCache.txt" ] && grep -q '^GTest_DIR:PATH=.*-NOTFOUND$' "$1/CMakeCache.txt"
}

# hearth_configure PRESET DIRECTORY
hearth_configure() {
  hearth_is_configured "$2" || (cd "$root" && cmake --preset "$1" "-DHEARTH_NO_WEB=$(hearth_no_web)" >&2)
}

# True when nothing that the program is made of is newer than the last build's beginning: then nothing has to be started.
hearth_is_fresh() {
  local stamp="$root/build/.built"
  [ -x "$root/build/hearth" ] && [ -f "$stamp" ] && hearth_is_configured "$root/build" &&
    [ -z "$(find "$root/src" "$root/data" "$root/cmake" "$root/CMakeLists.txt" "$root/CMakePresets.json" "$root/web" \
      \( -name node_modules -o -name dist \) -prune -o -newer "$stamp" -print -quit)" ]
}

hearth_build_release() {
  hearth_is_fresh && return 0
  # shellcheck disable=SC2086
  hearth_install $hearth_packages
  hearth_install_node
  hearth_configure release "$root/build"
  local log="$root/build/build.log"
  hearth_say "building (log: build/build.log)"
  touch "$root/build/.building"
  if ! cmake --build "$root/build" --target hearth >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    hearth_say "the build failed; the whole log is in $log"
    return 1
  fi
  mv "$root/build/.building" "$root/build/.built"
}
