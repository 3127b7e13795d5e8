// Finds the instruction sets that this processor can run, and notices forks. Compiled once, for the baseline.
#include <pthread.h>
#include <string.h>

#define GSS_PUBLIC extern "C" __attribute__((visibility("default")))

extern "C" {
__attribute__((visibility("hidden"))) int gss_forked = 0;
}

namespace {

void child_of_fork() { gss_forked = 1; }

__attribute__((constructor)) void watch_for_fork() { pthread_atfork(nullptr, nullptr, child_of_fork); }

bool runs(const char* isa) {
  if (strcmp(isa, "baseline") == 0) return true;
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
#if defined(GSS_HAS_avx2)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  if (strcmp(isa, "avx2") == 0) return avx2;
#endif
#if defined(GSS_HAS_avx512)
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (strcmp(isa, "avx512") == 0) return avx512;
#endif
#if defined(GSS_HAS_avx512bf16)
  if (strcmp(isa, "avx512bf16") == 0)
    return avx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vbmi");
#endif
#endif
  return false;
}

}  // namespace

// 1 if the library has functions for this instruction set and the processor runs them.
GSS_PUBLIC int gss_runs_isa(const char* isa) { return runs(isa) ? 1 : 0; }

GSS_PUBLIC const char* gss_best_isa(void) {
  static const char* const fastest_first[] = {"avx512bf16", "avx512", "avx2", "baseline"};
  for (const char* isa : fastest_first)
    if (runs(isa)) return isa;
  return "baseline";
}

GSS_PUBLIC int gss_abi_version(void) { return 1; }
