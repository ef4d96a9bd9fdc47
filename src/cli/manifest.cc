#include "cli/manifest.h"

#include <algorithm>
#include <charconv>

#include <openssl/evp.h>

#include "base/check.h"

namespace gd2fs::cli {
namespace {

constexpr std::string_view kTitle = "# gd2fs manifest 1, ";
constexpr size_t kHexDigits = 64;

bool needs_escape(std::string_view name) {
  return name.find_first_of("\n\r\\") != std::string_view::npos;
}

std::string escaped(std::string_view name) {
  std::string out;
  for (char c : name) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\\') {
      out += "\\\\";
    } else {
      out += c;
    }
  }
  return out;
}

bool unescape(std::string_view text, std::string* name) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      *name += text[i];
      continue;
    }
    if (++i == text.size()) return false;
    if (text[i] == 'n') {
      *name += '\n';
    } else if (text[i] == 'r') {
      *name += '\r';
    } else if (text[i] == '\\') {
      *name += '\\';
    } else {
      return false;
    }
  }
  return true;
}

// A relative path that stays inside: no empty component, no "." or "..".
bool stays_inside(std::string_view name) {
  if (name.empty() || name.find('\0') != std::string_view::npos) return false;
  while (true) {
    const size_t end = std::min(name.find('/'), name.size());
    const std::string_view part = name.substr(0, end);
    if (part.empty() || part == "." || part == "..") return false;
    if (end == name.size()) return true;
    name.remove_prefix(end + 1);
  }
}

Status bad_line(size_t line, std::string_view what) {
  return {StatusCode::corrupt,
          std::string(kManifestName) + ":" + std::to_string(line) + ": " + std::string(what)};
}

bool take_number(std::string_view* text, uint64_t* value) {
  const auto [rest, error] = std::from_chars(text->data(), text->data() + text->size(), *value);
  if (error != std::errc()) return false;
  text->remove_prefix(static_cast<size_t>(rest - text->data()));
  return true;
}

bool take(std::string_view* text, std::string_view word) {
  if (!text->starts_with(word)) return false;
  text->remove_prefix(word.size());
  return true;
}

bool parse_entry(std::string_view line, ManifestEntry* entry) {
  const bool is_escaped = take(&line, "\\");
  if (line.size() < kHexDigits + 3 || line.substr(kHexDigits, 2) != "  ") return false;
  entry->sha256 = line.substr(0, kHexDigits);
  if (entry->sha256.find_first_not_of("0123456789abcdef") != std::string::npos) return false;
  line.remove_prefix(kHexDigits + 2);
  if (is_escaped) return unescape(line, &entry->name);
  entry->name = line;
  return true;
}

}  // namespace

std::string write_manifest(Manifest manifest) {
  std::sort(manifest.entries.begin(), manifest.entries.end());
  std::string out = std::string(kTitle) + std::to_string(manifest.entries.size()) + " files, " +
                    std::to_string(manifest.size_bytes) + " bytes\n";
  for (const ManifestEntry& entry : manifest.entries) {
    const bool escape = needs_escape(entry.name);
    out += (escape ? "\\" : "") + entry.sha256 + "  ";
    out += (escape ? escaped(entry.name) : entry.name) + "\n";
  }
  return out;
}

Result<Manifest> read_manifest(std::string_view text) {
  Manifest manifest;
  uint64_t files = 0;
  if (!take(&text, kTitle) || !take_number(&text, &files) || !take(&text, " files, ") ||
      !take_number(&text, &manifest.size_bytes) || !take(&text, " bytes\n")) {
    return fail(bad_line(1, "is not the first line of a manifest"));
  }
  for (size_t line_number = 2; !text.empty(); ++line_number) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return fail(bad_line(line_number, "is cut off"));
    ManifestEntry entry;
    if (!parse_entry(text.substr(0, end), &entry)) {
      return fail(bad_line(line_number, "is not HASH, two spaces, NAME"));
    }
    if (!stays_inside(entry.name)) {
      return fail(bad_line(line_number, "names a file outside the directory"));
    }
    if (!manifest.entries.empty() && manifest.entries.back().name >= entry.name) {
      return fail(bad_line(line_number, "is not in order"));
    }
    manifest.entries.push_back(std::move(entry));
    text.remove_prefix(end + 1);
  }
  if (manifest.entries.size() != files) {
    return fail(bad_line(1, "promises " + std::to_string(files) + " files, there are " +
                                std::to_string(manifest.entries.size())));
  }
  return manifest;
}

Sha256::Sha256() : state_(EVP_MD_CTX_new()) {
  CHECK(state_ != nullptr);
  CHECK(EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(state_), EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() {
  EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(state_));
}

void Sha256::update(ConstBytes bytes) {
  CHECK(EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(state_), bytes.data(), bytes.size()) == 1);
}

std::string Sha256::hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  CHECK(EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(state_), digest, &length) == 1);
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (unsigned i = 0; i < length; ++i) {
    out += kDigits[digest[i] >> 4U];
    out += kDigits[digest[i] & 15U];
  }
  return out;
}

}  // namespace gd2fs::cli
