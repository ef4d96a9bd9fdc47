#include "sim/hostile/script.h"

namespace gd2fs::sim {

uint64_t Script::number(uint64_t honest) {
  const uint64_t pick = byte();
  if (pick == 0) return honest;
  if (pick < 64) return pick - 1;
  if (pick < 96) return known_->numbers[pick % known_->numbers.size()];
  if (pick < 160) return uint64_t{1} << (pick - 96);
  if (pick < 224) return (uint64_t{1} << (pick - 160)) - 1;
  if (pick < 232) return honest + pick - 228;  // three below to three above
  if (pick < 248) return UINT64_MAX - (pick - 232);
  uint64_t value = 0;
  for (const std::byte part : take(pick - 247)) value = value << 8 | static_cast<uint8_t>(part);
  return value;
}

std::string Script::text(std::string_view honest) {
  constexpr size_t kLongBytes = 5000;
  constexpr size_t kDeep = 400;
  const size_t pick = byte();
  if (pick == 0) return std::string(honest);
  if (pick <= kTexts.size()) return std::string(kTexts[pick - 1]);
  if (pick == kTexts.size() + 1) return "/" + std::string(kLongBytes, 'x');
  if (pick == kTexts.size() + 2) {
    std::string deep;
    for (size_t i = 0; i < kDeep; ++i) deep += "/d";
    return deep;
  }
  const ConstBytes raw = take(pick & 31);
  std::string text = pick < 128 ? std::string(honest) : std::string("/");
  if (!raw.empty()) text.append(reinterpret_cast<const char*>(raw.data()), raw.size());
  return text;
}

std::vector<uint8_t> Script::bytes(const std::vector<uint8_t>& honest) {
  const uint8_t pick = byte();
  if (pick == 0) return honest;
  std::vector<uint8_t> out(honest);
  if (pick < 128) {  // a byte of it is wrong
    if (!out.empty()) out[pick % out.size()] ^= byte() | 1;
    return out;
  }
  if (pick < 192) {  // it is cut, or goes on
    out.resize(number(out.size()) % 300, 0x55);
    return out;
  }
  const ConstBytes raw = take(pick & 63);
  const auto* data = reinterpret_cast<const uint8_t*>(raw.data());
  return {data, data + raw.size()};
}

std::unique_ptr<msg::Tag> Script::tag() {
  const uint8_t pick = byte();
  if (pick == 255) return nullptr;
  if (pick == 0) ++known_->sequence;
  const uint64_t sequence = pick == 0 ? known_->sequence : number(known_->sequence);
  const uint64_t low = pick == 0 ? known_->sequence : number(1);
  const uint64_t incarnation = pick < 128 ? known_->incarnation : number(known_->incarnation);
  return std::make_unique<msg::Tag>(incarnation, sequence, low);
}

}  // namespace gd2fs::sim
